#pragma once

#include "CLinuxNetMulticast.h"
