# After `azd provision`, on Windows: the vault has the secrets now, so azd's environment forgets them.
. "$PSScriptRoot/deployment.ps1"

Clear-Values @('LAKE_NEW_PUBLIC_TOKEN', 'LAKE_NEW_INTERNAL_TOKEN', 'LAKE_NEW_PRINCIPALS')
Write-Output "the ground is laid; 'azd deploy' brings the pair"
