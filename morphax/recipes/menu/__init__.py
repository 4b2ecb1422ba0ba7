"""From pairs to a menu of operators: `learn` goes from simple to large and keeps the front."""
