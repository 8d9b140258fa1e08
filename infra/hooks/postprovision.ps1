# After `azd provision`, on Windows: the vault has the tokens now, so azd's environment forgets them.
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true

# A file, because what PowerShell makes of an empty argument depends on its version.
$file = New-TemporaryFile
try {
    Set-Content -Path $file -Value 'LAKE_NEW_PUBLIC_TOKEN=""', 'LAKE_NEW_INTERNAL_TOKEN=""', 'LAKE_NEW_PRINCIPALS=""'
    azd env set --file $file.FullName
}
finally {
    Remove-Item -Path $file
}
if ($env:QUERY_FQDN) {
    & "$PSScriptRoot/postdeploy.ps1"
}
