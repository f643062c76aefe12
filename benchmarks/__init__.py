"""What a streamed chunk costs: linkspan beside the limit, the frameworks' own floors and other packages."""
