"""Speed measurements: ratios, side by side, compile time apart."""
