# After `azd provision`, on Windows: the vault has the tokens now, so azd's environment forgets them.
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true

azd env set LAKE_NEW_PUBLIC_TOKEN '""'
azd env set LAKE_NEW_INTERNAL_TOKEN '""'
azd env set LAKE_NEW_PRINCIPALS '""'
if ($env:QUERY_FQDN) {
    & "$PSScriptRoot/postdeploy.ps1"
}
