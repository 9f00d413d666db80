"""passivator: reconciles what each tenant should be with what it is, and puts idle tenants to sleep."""
