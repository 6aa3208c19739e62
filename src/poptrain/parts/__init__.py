"""What two or more algorithms share: rounds, the population as exploit sees it, exploit and explore. Pure."""
