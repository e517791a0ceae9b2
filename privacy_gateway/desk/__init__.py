"""What the gateway remembers and decides, joined: one desk where every question, consent and complaint is put."""
