# Before `azd provision`, on Windows: finds the operator, and makes the tokens that the vault does not have yet.
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true

function New-Token {
    $bytes = [System.Security.Cryptography.RandomNumberGenerator]::GetBytes(32)
    return [Convert]::ToBase64String($bytes).Replace('+', '-').Replace('/', '_').TrimEnd('=')
}

function Find-Operator {
    if ($env:AZURE_PRINCIPAL_ID) { return }
    $account = az account show --output json | ConvertFrom-Json
    if ($account.user.type -eq 'servicePrincipal') {
        $id = az ad sp show --id $account.user.name --query id --output tsv
        azd env set AZURE_PRINCIPAL_TYPE ServicePrincipal
    }
    else {
        $id = az ad signed-in-user show --query id --output tsv
        azd env set AZURE_PRINCIPAL_TYPE User
    }
    azd env set AZURE_PRINCIPAL_ID $id
}

function Set-MissingTokens {
    $existing = @()
    if ($env:AZURE_KEY_VAULT_NAME) {
        $existing = az keyvault secret list --vault-name $env:AZURE_KEY_VAULT_NAME --query '[].name' --output tsv
    }
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

Find-Operator
Set-MissingTokens
