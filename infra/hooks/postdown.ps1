# After `azd down`, on Windows: azd's environment forgets the addresses and names of what is gone. azd forgets those of
# main.bicep by itself.
. "$PSScriptRoot/deployment.ps1"

Clear-Values @('QUERY_FQDN', 'QUERY_APP_NAME', 'CATALOG_FQDN', 'CATALOG_APP_NAME', 'MAINTENANCE_JOB_NAME', 'RESTORE_JOB_NAME', 'DEPLOYED_PARTS', 'SERVICE_AZQUACK_IMAGE_NAME')
