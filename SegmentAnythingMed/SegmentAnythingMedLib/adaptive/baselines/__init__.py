"""What P2SAM is measured against, on the same features and behind the same interface (``one_shot.OneShotMethod``)."""
