"""Measures tunnels side by side: what `scripts/bench vpn` is made of.

    tools      small C programs, built when first needed
    wire       two namespaces and what lies between them: a cable, a lossy one, a long one
    peers      the tunnels that can be compared, each as `up` in both namespaces
    measure    one figure each: throughput, round trips, datagrams, memory, processor time
    plot       SVG from the JSON

Nothing here asks the tunnel how fast it is: figures come from iperf3, ping, the kernel and /proc.
"""
