"""Real kernels for tests: nodes in network namespaces, machines that boot systemd.

    waiting     every wait has a bound, and says at its end what it waited for
    program     the built agent, and its command line
    network     namespaces joined by a bridge, as machines on one LAN
    node        one node: a root directory, a cloud-config, the agent's process
    machine     one systemd machine in systemd-nspawn

Needs root, Debian's packages as scripts/setup installs them, and nothing beyond the standard library.
"""
