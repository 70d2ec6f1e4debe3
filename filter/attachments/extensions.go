package attachments

import "strings"

// The lists below are file name extensions for which a desktop runs, installs or follows what it is
// given, without asking what is inside. They hold what mail clients of the large vendors block and what
// the systems themselves register, but for formats that people exchange every day and that need a second
// mistake to do harm (certificates, mailboxes, databases). Disk images, office documents and HTML have
// content that must be looked into; they are not judged by name.

// Programs, installers, libraries, and packages that the system installs on opening.
const executableExtensions = `
	acm appimage appinstaller application appx appxbundle air apk ax bpl class com cpl crx deb dex diagcab diagpkg
	dll drv dylib efi elf exe gadget ipa jar ko mpkg msi msix msixbundle msp mst msu mui ocx pif pkg printerexport
	rll rpm run scr shb shs so sys tsp vsto vxd wll xap xbap xll xpi ade adp accde mda mde`

// Text and byte code that an interpreter runs: Windows Script Host, shells, PowerShell, registry and
// setup files, compiled help (which runs script), task and sandbox definitions.
const scriptExtensions = `
	a3x ahk applescript au3 bash bat bgi cdxml chm cmd command csh ksh zsh sh fxp hlp hpj hta htc inf
	ins isp its job js jse jsm mjs msc msh msh1 msh2 mshxml msh1xml msh2xml osd pl plg prg ps1 ps1xml ps2 ps2xml
	psc1 psc2 psd1 psm1 pssc py pyc pyd pyo pyw pyz pyzw reg rgs scpt scptd sct terminal tool vb vbe vbs
	vbscript wsb workflow ws wsc wsf wsh`

// Files whose only content is where to go or what to start.
const shortcutExtensions = `
	appref-ms contact desktop deskthemepack dqy fileloc inetloc iqy jnlp library-ms lnk msrcincident oqy rdp rqy
	scf search-ms searchconnector-ms settingcontent-ms theme themepack url webloc webpnp website xnk`

// Extensions of things that people open without a thought: in front of a dangerous one they are a lie.
const innocentExtensions = `
	asc avi bmp csv doc docm docx dot dotx eml epub flac gif gz htm html ics jpeg jpg log m4a md mkv mov mp3 mp4 mpeg
	mpg msg odp ods odt ogg one pdf png pps ppsx ppt pptx rar rtf svg tar tif tiff txt vcf wav webp wma wmv xls xlsb
	xlsm xlsx xml xps zip 7z`

var (
	extensionClasses = func() map[string]class {
		m := map[string]class{}
		for _, l := range []struct {
			class      class
			extensions string
		}{{executable, executableExtensions}, {script, scriptExtensions}, {shortcut, shortcutExtensions}} {
			for _, e := range strings.Fields(l.extensions) {
				m[e] = l.class
			}
		}
		return m
	}()

	innocent = func() map[string]bool {
		m := map[string]bool{}
		for _, e := range strings.Fields(innocentExtensions) {
			m[e] = true
		}
		return m
	}()
)

// typeClasses are the media types from which a desktop picks one of the extensions above for a part that
// has no file name, or one without an extension.
var typeClasses = map[string]class{
	"application/x-msdownload":                      executable,
	"application/x-msdos-program":                   executable,
	"application/x-dosexec":                         executable,
	"application/vnd.microsoft.portable-executable": executable,
	"application/x-ms-dos-executable":               executable,
	"application/x-ms-installer":                    executable,
	"application/x-msi":                             executable,
	"application/x-executable":                      executable,
	"application/x-elf":                             executable,
	"application/x-mach-binary":                     executable,
	"application/java-archive":                      executable,
	"application/x-java-archive":                    executable,
	"application/vnd.android.package-archive":       executable,
	"application/x-ms-application":                  executable,
	"application/x-ms-xbap":                         executable,
	"application/hta":                               script,
	"application/javascript":                        script,
	"application/x-javascript":                      script,
	"application/ecmascript":                        script,
	"text/javascript":                               script,
	"text/ecmascript":                               script,
	"text/vbscript":                                 script,
	"text/vbs":                                      script,
	"text/jscript":                                  script,
	"text/scriptlet":                                script,
	"application/x-sh":                              script,
	"application/x-csh":                             script,
	"application/x-shellscript":                     script,
	"text/x-shellscript":                            script,
	"application/x-powershell":                      script,
	"application/x-bat":                             script,
	"application/x-ms-shortcut":                     shortcut,
	"application/x-mswinurl":                        shortcut,
	"application/internet-shortcut":                 shortcut,
	"application/x-desktop":                         shortcut,
	"application/x-java-jnlp-file":                  shortcut,
	"application/x-rdp":                             shortcut,
	"application/windows-library+xml":               shortcut,
	"application/windows-search-connector+xml":      shortcut,
	"application/vnd.ms-search":                     shortcut,
}
