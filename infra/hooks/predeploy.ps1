# Before `azd deploy`, on Windows: refuses a choice that cannot be, before the image is built.
. "$PSScriptRoot/deployment.ps1"

Assert-Choices
