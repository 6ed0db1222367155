"""The network: backbone, dual attention, semantic interaction, and the two branches."""
