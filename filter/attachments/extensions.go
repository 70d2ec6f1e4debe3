package attachments

import "strings"

// The lists below are file name extensions for which a desktop runs, installs, mounts or follows what it is
// given, without asking what is inside. They hold what mail clients of the large vendors block and what
// the systems themselves register, but for formats that people exchange every day and that need a second
// mistake to do harm: certificates (cer, crt, der), mailboxes (pst), cabinets (cab, which are looked into) and
// temporary files (tmp). Nor is anything in them that is mostly something else: mat is data of MATLAB before it is
// a shortcut of Access, cdr a drawing and mdf a database before they are disk images. HTML, SVG and PDF have content that
// must be looked into; they are not judged by name.

// Programs, installers, libraries, and packages that the system installs on opening.
const executableExtensions = `
	accde acm ade adp air apk app appimage appinstaller application appx appxbundle ax bpl class com cpl crx deb
	dex diagcab diagcfg diagpkg dll drv dylib efi elf ex ex_ exe flatpak flatpakref gadget ipa jar ko lib mda mde
	mpkg msi msix msixbundle msp mst msu mui ocx pif pkg printerexport rll rpm run safariextz scr shb shs snap so
	swf sys tsp vsix vsto vxd wll xap xbap xll xpi`

// Text and byte code that an interpreter runs: Windows Script Host, shells, PowerShell, registry and
// setup files, compiled help (which runs script), task and sandbox definitions, and data that makes a
// spreadsheet run something (slk).
const scriptExtensions = `
	a3x ahk applescript asp aspx au3 bas bash bat bgi btm cdxml chm cmd cnt command csh fxp hlp hpj hta htc inf
	ins isp its job js jse jsm ksh mjs msc msh msh1 msh1xml msh2 msh2xml mshxml nsh osd pl plg prf prg ps1 ps1xml
	ps2 ps2xml psc1 psc2 psd1 psdm1 psm1 pssc py pyc pyd pyo pyw pyz pyzw reg rgs scpt scptd sct sh slk terminal
	tool vb vbe vbp vbs vbscript vsmacros vsw workflow ws wsb wsc wsf wsh zsh`

// Files whose only content is where to go or what to start.
const shortcutExtensions = `
	appcontent-ms appref-ms asx contact desklink deskthemepack desktop dqy fileloc group grp inetloc iqy jnlp
	library-ms lnk mad maf mag mam mapimail maq mar mas mau mav maw mcf msrcincident mydocs ops oqy pcd rdp rqy
	scf search-ms searchconnector-ms settingcontent-ms theme themepack udl url webloc webpnp website xnk
	zfsendtotarget`

// Office documents and databases whose extension says that there is code in them.
const macroExtensions = `
	accda accdb accdr accdt accdu docm dotm mdb mdt mdw mdz otm potm ppa ppam ppsm pptm sldm xla xlam xlm xlsm
	xltm`

// File systems, which a desktop opens like a folder and without the mark of what comes from outside.
const diskExtensions = `
	cdi cso daa dmg dmgpart img iso isz mds nrg qcow qcow2 sparsebundle sparseimage swm toast udf uif vdi vfd vhd
	vhdx vmdk wim`

// Web pages in one file. Their readers run the scripts in them wherever they lie.
const webExtensions = `mht mhtml`

// Extensions of things that people open without a thought: in front of a dangerous one they are a lie.
const innocentExtensions = `
	7z asc avi bmp csv doc docx dot dotx eml epub flac gif gz heic htm html ics jpeg jpg log m4a md mkv mov mp3
	mp4 mpeg mpg msg odp ods odt ogg one pdf png pps ppsx ppt pptx rar rtf svg tar tif tiff txt vcf wav webp wma
	wmv xls xlsb xlsx xml xps zip`

// extensionLists are the extensions of each class that is told by names.
var extensionLists = []struct {
	class      class
	extensions string
}{
	{executable, executableExtensions},
	{script, scriptExtensions},
	{shortcut, shortcutExtensions},
	{macro, macroExtensions},
	{diskImage, diskExtensions},
	{activeHTML, webExtensions},
}

var (
	extensionClasses = func() map[string]class {
		m := map[string]class{}
		for _, l := range extensionLists {
			for _, e := range strings.Fields(l.extensions) {
				m[e] = l.class
			}
		}
		return m
	}()

	innocent = func() map[string]bool {
		m := map[string]bool{}
		for _, e := range strings.Fields(innocentExtensions + macroExtensions) {
			m[e] = true
		}
		return m
	}()
)
