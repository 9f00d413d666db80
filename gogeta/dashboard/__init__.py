"""The dashboard of the admin listener: pages for people, made on the server, over what the API tells programs."""
