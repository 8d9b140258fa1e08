"""What `azquack doctor` looks at: the machine, the settings, the lake, the deployment."""
