"""From labelled pictures to a card with weights."""
