"""What is slow by nature: stories told whole, floods, long runs. `make soak`, outside the lab; what needs one enters it."""
