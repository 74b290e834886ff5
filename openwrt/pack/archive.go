package pack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxPart bounds one part of a package, unpacked.
const maxPart = 128 << 20

// Member is one file of an archive.
type Member struct {
	Header  tar.Header
	Content []byte
}

// Name is the member's path without a leading "./" or "/".
func (m Member) Name() string { return strings.TrimPrefix(path.Clean("/"+m.Header.Name), "/") }

// readTar reads all members of a tar archive.
func readTar(r io.Reader) ([]Member, error) {
	var out []Member
	t := tar.NewReader(io.LimitReader(r, maxPart))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		out = append(out, Member{*h, content})
	}
}

// IPK is a package of opkg's: a gzipped tar archive with a gzipped tar archive of
// control files and one of data (OpenWrt, scripts/ipkg-build).
type IPK struct {
	Control []Member // control, conffiles, postinst, …
	Data    []Member
}

// ReadIPK takes a package apart.
func ReadIPK(file []byte) (IPK, error) {
	parts, err := readGzip(bytes.NewReader(file))
	if err != nil {
		return IPK{}, err
	}
	var p IPK
	for _, part := range parts {
		switch part.Name() {
		case "control.tar.gz":
			p.Control, err = readGzip(bytes.NewReader(part.Content))
		case "data.tar.gz":
			p.Data, err = readGzip(bytes.NewReader(part.Content))
		}
		if err != nil {
			return IPK{}, fmt.Errorf("%s: %w", part.Name(), err)
		}
	}
	if p.Control == nil || p.Data == nil {
		return IPK{}, errors.New("read package: it has no control or no data")
	}
	return p, nil
}

func readGzip(r io.Reader) ([]Member, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return readTar(z)
}

// Pick gives the content of a member.
func Pick(members []Member, name string) (content []byte, ok bool) {
	for _, m := range members {
		if m.Name() == name {
			return m.Content, true
		}
	}
	return nil, false
}

// APK is a package of apk's second format: gzip streams one after the other, of
// signatures if there are any, of control files and of data. The control's tar
// archive has no end, so that all three together are one archive.
type APK struct {
	Signatures []Member
	Control    []Member // .PKGINFO and scripts
	Data       []Member
	// Stream is the control part as it stands in the file; its SHA-1 is the
	// package's identity.
	Stream []byte
}

// ReadAPK takes a package apart.
func ReadAPK(file []byte) (APK, error) {
	var p APK
	for rest := file; len(rest) > 0; {
		members, used, err := readStream(rest)
		if err != nil {
			return APK{}, err
		}
		switch {
		case len(members) > 0 && strings.HasPrefix(members[0].Name(), ".SIGN."):
			p.Signatures = members
		case p.Stream == nil:
			p.Control, p.Stream = members, rest[:used]
		default:
			p.Data = append(p.Data, members...)
		}
		rest = rest[used:]
	}
	if _, ok := Pick(p.Control, ".PKGINFO"); !ok {
		return APK{}, errors.New("read package: it has no .PKGINFO")
	}
	return p, nil
}

// readStream reads the first gzip stream of a file and says how long it is.
func readStream(file []byte) (members []Member, used int, err error) {
	raw := bytes.NewReader(file)
	// gzip reads octet by octet from a ByteReader and stops at the stream's end.
	in := bufio.NewReaderSize(raw, 16)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, 0, fmt.Errorf("unpack: %w", err)
	}
	z.Multistream(false)
	content, err := io.ReadAll(io.LimitReader(z, maxPart))
	if err != nil {
		return nil, 0, fmt.Errorf("unpack: %w", err)
	}
	used = len(file) - raw.Len() - in.Buffered()
	// Two blocks of zeros end an archive; those that are cut off lack them.
	members, err = readTar(io.MultiReader(bytes.NewReader(content), bytes.NewReader(make([]byte, 1024))))
	return members, used, err
}
