#pragma once

#include "CLinuxNetMulticast.h"
#include "CLinuxNetTun.h"
