// CloudConfig
