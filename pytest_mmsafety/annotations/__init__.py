"""People's labels: asked for, read, and judges measured against them."""
