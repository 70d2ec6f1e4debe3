package rtf

import "strings"

// destinations are control words whose group holds text that is none of the document's or of an object's digits (RTF
// Specification 1.9.1, appendix B), besides those that \* announces.
var destinations = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`
		aftncn aftnsep aftnsepc annotation atnauthor atndate atnicn atnid atnparent atnref atntime atrfend atrfstart
		author background bkmkend bkmkstart blipuid buptim category colorschememapping colortbl comment company
		creatim datafield datastore defchp defpap do doccomm docvar dptxbxtext ebcend ebcstart factoidname falt fchars
		ffdeftext ffentrymcr ffexitmcr ffformat ffhelptext ffl ffname ffstattext field file filetbl fldinst fldrslt
		fldtype fname fontemb fontfile fonttbl footer footerf footerl footerr footnote formfield ftncn ftnsep ftnsepc
		generator gridtbl header headerf headerl headerr hl hlfr hlinkbase hlloc hlsrc hsv htmltag info keycode
		keywords latentstyles lchars levelnumbers leveltext lfolevel linkval list listlevel listname listoverride
		listoverridetable listpicture liststylename listtable listtext lsdlockedexcept macc manager mhtmltag mmath
		mmathpr nesttableprops nextfile nonesttables objalias objclass objdata object objname objsect objtime
		oldcprops oldpprops oldsprops oldtprops oleclsid operator panose password passwordhash pgp pgptbl picprop pict
		pn pnseclvl pntext pntxta pntxtb printim private propname protend protstart protusertbl pxe result revtbl
		revtim rsidtbl rxe shp shpgrp shpinst shppict shprslt shptxt sn sp staticval stylesheet subject sv svb tc
		template themedata title txe ud upr userprops wgrffmtfilter windowcaption writereservation writereservhash
		xe xform xmlattrname xmlattrvalue xmlclose xmlname xmlnstbl xmlopen`) {
		m[w] = true
	}
	return m
}()
