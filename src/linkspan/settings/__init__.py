"""The settings of each API's classes: fields, address, codec, and the calls beside chat. Both frameworks use them."""
