"""What training and evaluation cost here."""
