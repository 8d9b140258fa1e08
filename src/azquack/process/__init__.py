"""What any process of AzQuack needs of its machine: pipes, directories, memory, disks, logs, health."""
