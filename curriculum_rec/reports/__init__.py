"""Reports (host): pictures of what runs did, and audits of what is taken for hard."""
