"""Colors that a person gives: read, spread over the picture, proposed."""
