# After `azd deploy`, on Windows: removes what an earlier deployment had and this one has not, and says how to attach the
# lake. postdeploy.sh does the same.
. "$PSScriptRoot/deployment.ps1"

$values = azd env get-values --output json | ConvertFrom-Json
if (-not $values.DEPLOYED_PARTS) { throw "azd's environment has no DEPLOYED_PARTS: run 'azd deploy'" }
Remove-Leftovers $values.AZURE_RESOURCE_GROUP $values.AZURE_SUBSCRIPTION_ID $values.DEPLOYED_PARTS
$domain = if ($values.LAKE_CUSTOM_DOMAIN) { $values.LAKE_CUSTOM_DOMAIN } else { $values.QUERY_FQDN }
Write-Output @"
The lake is at quack:${domain}:443. In any DuckDB 1.5, from 1.5.3 on:

  CREATE SECRET (TYPE quack, SCOPE 'quack:${domain}:443', TOKEN '<token>');
  ATTACH 'quack:${domain}:443' AS lake;
  FROM lake.query('SHOW ALL TABLES');

The token:

  az keyvault secret show --vault-name $($values.AZURE_KEY_VAULT_NAME) --name public-token --query value --output tsv
"@
