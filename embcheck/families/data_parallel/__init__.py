"""A tied model trained by several processes: DDP and FSDP."""
