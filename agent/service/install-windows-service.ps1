<#
.SYNOPSIS
    Installs the License Manager as a Windows service that validates the licenses every day.

.DESCRIPTION
    Windows starts only programs that speak to its service controller. Shawl (open source) does that for any program; it
    is installed from Microsoft's package manager: winget install -e --id mtkennerly.shawl

    Run in a PowerShell with administrator's rights, after the License Manager is installed.

.EXAMPLE
    .\install-windows-service.ps1 -Program "C:\Program Files\License Manager\Scripts\license-manager.exe"

.EXAMPLE
    .\install-windows-service.ps1 -Remove
#>
[CmdletBinding()]
param(
    [string] $Program = "$env:ProgramFiles\License Manager\Scripts\license-manager.exe",
    [string] $StateFolder = "$env:ProgramData\license-manager",
    [switch] $Remove
)

$ErrorActionPreference = 'Stop'
$name = 'license-manager'

function Invoke-Checked([string] $Command, [string[]] $Arguments) {
    & $Command @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Command ended with $LASTEXITCODE" }
}

if ($Remove) {
    Stop-Service -Name $name -ErrorAction SilentlyContinue
    Invoke-Checked 'sc.exe' @('delete', $name)
    return
}

if (-not (Test-Path -LiteralPath $Program)) { throw "There is no $Program. Name it with -Program." }
$shawl = (Get-Command shawl.exe -ErrorAction SilentlyContinue).Source
if (-not $shawl) { throw 'Shawl is missing. Install it: winget install -e --id mtkennerly.shawl' }

# Only the system and administrators may read the state: it holds this server's private key.
New-Item -ItemType Directory -Force -Path $StateFolder | Out-Null
Invoke-Checked 'icacls.exe' @($StateFolder, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F')

# Shawl passes a stop on as Ctrl-C; the License Manager ends within a second.
Invoke-Checked $shawl @('add', '--name', $name, '--restart', '--stop-timeout', '15000',
    '--env', "LICENSE_MANAGER_HOME=$StateFolder", '--log-dir', $StateFolder,
    '--', $Program, 'run')
Invoke-Checked 'sc.exe' @('config', $name, 'start=', 'delayed-auto')
Invoke-Checked 'sc.exe' @('description', $name, 'Validates the licenses of this server every day.')
Invoke-Checked 'sc.exe' @('failure', $name, 'reset=', '86400', 'actions=', 'restart/30000/restart/60000/restart/300000')
Start-Service -Name $name
Get-Service -Name $name
