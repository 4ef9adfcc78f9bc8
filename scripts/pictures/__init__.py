"""How the pictures of the shipped suites are described (``book``) and drawn (``kinds`` on a ``canvas``)."""
