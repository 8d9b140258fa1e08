# Read by the hooks beside it: the operator's choices, and what stands in Azure already. scripts/deployment.sh does the
# same for the shell; infra/choices.csv is the one table of choices for both.
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true

function Find-Problem($name, $values, $value) {
    if ($value -match "`n") { return "$name has a line break in it" }
    switch -Regex -CaseSensitive ($values) {
        '^boolean$' {
            if ($value -notmatch '^(true|false)$') { return "$name is '$value': write true or false" }
            return
        }
        '^\d+-\d+$' {
            $low, $high = $values -split '-'
            if ($value -notmatch '^\d{1,4}$' -or [int]$value -lt [int]$low -or [int]$value -gt [int]$high) {
                return "$name is '$value': write a whole number from $low to $high"
            }
            return
        }
        '\|' {
            if (($values -split '\|') -cnotcontains $value) {
                return "$name is '$value': write one of $($values -replace '\|', ', ')"
            }
            return
        }
        '^addresses$' {
            foreach ($range in $value -split ',') {
                if ($range -notmatch '^(\d{1,3}\.){3}\d{1,3}(/(\d|[12]\d|3[0-2]))?$') {
                    return "$name is '$value': expected an address or a range such as 203.0.113.0/24, with commas between several"
                }
            }
            return
        }
        '^address$' {
            if ($value -notmatch '^[^\s@]+@[^\s@]+$') { return "$name is '$value': expected one address" }
            return
        }
    }
}

# Ends the hook when a choice in the environment cannot be, with every problem.
function Assert-Choices {
    $problems = @(
        foreach ($choice in Import-Csv -Path "$PSScriptRoot/../choices.csv") {
            $value = [Environment]::GetEnvironmentVariable($choice.name)
            if ($value) { Find-Problem $choice.name $choice.values $value }
        }
        if ($env:LAKE_CUSTOM_DOMAIN -and -not $env:LAKE_CERTIFICATE_ID) {
            'LAKE_CUSTOM_DOMAIN is set without LAKE_CERTIFICATE_ID: add a certificate to the environment first (docs/deploy.md)'
        }
    )
    if ($problems) {
        throw "$($problems -join "`n")`nnothing was changed; mend it with 'azd env set NAME VALUE'"
    }
}

function Assert-Choice($name, $stands, $group) {
    $wanted = [Environment]::GetEnvironmentVariable($name)
    $wanted = if ($wanted) { $wanted.ToLowerInvariant() } else { 'false' }
    if ($wanted -ne $stands) {
        throw "$name is $wanted, but the deployment in $group was made with $stands, which cannot be switched: 'azd env set $name $stands' keeps what stands, and docs/deploy.md says how to move to another"
    }
}

# Holds the choices that are made once against what stands.
function Assert-Fixed($group, $subscription) {
    $sku = az storage account list --resource-group $group --query "[?starts_with(name, 'stcat')].sku.name | [0]" --subscription $subscription --output tsv
    switch -Wildcard ($sku) {
        'Premium*' { Assert-Choice LAKE_PREMIUM_CATALOG true $group }
        'Standard*' { Assert-Choice LAKE_PREMIUM_CATALOG false $group }
        '*_ZRS' { Assert-Choice LAKE_ZONE_REDUNDANT true $group }
        '*_LRS' { Assert-Choice LAKE_ZONE_REDUNDANT false $group }
    }
    $subnet = az containerapp env list --resource-group $group --query "[].not_null(properties.vnetConfiguration.infrastructureSubnetId, 'none') | [0]" --subscription $subscription --output tsv
    switch -Wildcard ($subnet) {
        '/*' { Assert-Choice LAKE_PRIVATE_NETWORK true $group }
        'none' { Assert-Choice LAKE_PRIVATE_NETWORK false $group }
    }
}

function Find-Vault($group, $subscription) {
    az resource list --resource-group $group --resource-type Microsoft.KeyVault/vaults --query '[0].id' --subscription $subscription --output tsv
}

# The names of the vault's secrets, asked of Azure's management, which answers from outside of a private network too.
function Get-Secrets($vault, $subscription) {
    az rest --method get --uri "$vault/secrets?api-version=2025-05-01&%24top=500" --query 'value[].name' --subscription $subscription --output tsv
}

# Ends the hook when an earlier deployment's vault keeps the name that this one needs.
function Assert-NoDeletedVault($group, $subscription) {
    $deleted = az keyvault list-deleted --resource-type vault --query "[?contains(properties.vaultId, '/resourceGroups/$group/')].name | [0]" --subscription $subscription --output tsv
    if ($deleted) {
        throw "the vault $deleted of an earlier deployment is deleted but not purged, and its name is taken: 'az keyvault purge --name $deleted' gives the name free and its tokens up; docs/deploy.md says how to recover it with its tokens"
    }
}

# Deletes the apps and alerts of an earlier deployment whose part, a tag, is none of $parts.
function Remove-Leftovers($group, $subscription, $parts) {
    $found = az resource list --resource-group $group --query '[?tags.azquackPart].{part: tags.azquackPart, id: id}' --subscription $subscription --output json | ConvertFrom-Json
    foreach ($each in $found) {
        if (($parts -split ',') -cnotcontains $each.part) {
            Write-Output "removing $($each.part), which this deployment no longer has"
            az resource delete --ids $each.id --subscription $subscription --output none
        }
    }
}

# Empties variables of azd's environment. A file, because what PowerShell makes of an empty argument depends on its version.
function Clear-Values([string[]]$names) {
    $file = New-TemporaryFile
    try {
        Set-Content -Path $file -Value ($names | ForEach-Object { "$_=`"`"" })
        azd env set --file $file.FullName
    }
    finally {
        Remove-Item -Path $file
    }
}
