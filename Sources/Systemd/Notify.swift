internal import CSystemd
