"""Language models that answer in words: conversations, their triggers, and what is measured on them."""
