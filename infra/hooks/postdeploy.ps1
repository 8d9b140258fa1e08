# After `azd deploy`, on Windows: says how to attach the lake.
$ErrorActionPreference = 'Stop'

$values = azd env get-values --output json | ConvertFrom-Json
Write-Output @"
The lake is at quack:$($values.QUERY_FQDN):443. In any DuckDB 1.5, from 1.5.3 on:

  CREATE SECRET lake (TYPE quack, TOKEN '<token>', SCOPE 'quack:$($values.QUERY_FQDN):443');
  ATTACH 'quack:$($values.QUERY_FQDN):443' AS lake;
  FROM lake.query('SHOW ALL TABLES');

The token:

  az keyvault secret show --vault-name $($values.AZURE_KEY_VAULT_NAME) --name public-token --query value --output tsv
"@
