"""Ray: connection, resources, nodes, preemption, launch files."""
