"""The network: backbone, dual attention, semantic interaction, the branches together."""
