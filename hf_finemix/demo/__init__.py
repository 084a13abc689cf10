"""The demo: a real encoder, real movie reviews, a planted backdoor, the purification and the evidence."""
