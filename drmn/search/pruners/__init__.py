"""Pruners, which stop trials early."""
