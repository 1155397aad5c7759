"""Vector code: matrix products, convolutions and elementary functions, for the widths of the processor's registers."""
