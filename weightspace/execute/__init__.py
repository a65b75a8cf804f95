"""Running networks from a checkpoint alone."""
