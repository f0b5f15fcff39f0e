#pragma once

#include "CLinuxNetMulticast.h"
#include "CLinuxNetDatagram.h"
#include "CLinuxNetTun.h"
