# Before `azd provision`, on Windows: refuses what cannot be, before anything is touched, and makes the secrets that the
# vault does not have yet. preprovision.sh does the same.
. "$PSScriptRoot/deployment.ps1"

function New-Token {
    $bytes = [System.Security.Cryptography.RandomNumberGenerator]::GetBytes(32)
    return [Convert]::ToBase64String($bytes).Replace('+', '-').Replace('/', '_').TrimEnd('=')
}

function New-MissingSecrets($existing) {
    $lines = @()
    if ($existing -notcontains 'public-token' -and -not $env:LAKE_NEW_PUBLIC_TOKEN) {
        $lines += "LAKE_NEW_PUBLIC_TOKEN=`"$(New-Token)`""
    }
    if ($existing -notcontains 'internal-token' -and -not $env:LAKE_NEW_INTERNAL_TOKEN) {
        $lines += "LAKE_NEW_INTERNAL_TOKEN=`"$(New-Token)`""
    }
    if ($existing -notcontains 'principals' -and -not $env:LAKE_NEW_PRINCIPALS) {
        $lines += "LAKE_NEW_PRINCIPALS='{`"principals`": []}'"
    }
    if ($lines.Count -eq 0) { return }
    # A file keeps the tokens off the command line.
    $file = New-TemporaryFile
    try {
        Set-Content -Path $file -Value $lines
        azd env set --file $file.FullName
    }
    finally {
        Remove-Item -Path $file
    }
}

Assert-Choices
$subscription = $env:AZURE_SUBSCRIPTION_ID
if (-not $subscription) { $subscription = az account show --query id --output tsv }
$group = "rg-$env:AZURE_ENV_NAME"
$vault = ''
$existing = @()
if ((az group exists --name $group --subscription $subscription --output tsv) -eq 'true') {
    Assert-Fixed $group $subscription
    $vault = Find-Vault $group $subscription
}
if ($vault) {
    $existing = @(Get-Secrets $vault $subscription)
}
else {
    Assert-NoDeletedVault $group $subscription
}
New-MissingSecrets $existing
