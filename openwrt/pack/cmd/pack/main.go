// Command pack prepares packages for nfpm and makes a feed of what nfpm made;
// scripts/package runs it.
//
//	pack targets [TARGET …]              lines: ARCH BUILD
//	pack stage --arch A --binary FILE --version V --out DIR
//	                                     lines: PACKAGER CONFIG FILE, for nfpm
//	pack index --dir DIR [--usign-key FILE] [--apk-key FILE]
//	pack key FILE                        makes FILE and FILE.pub
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/routerd/routerd/openwrt/pack"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("targets, stage, index or key")
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "targets":
		targets, err := pack.Find(args[1:])
		for _, t := range targets {
			fmt.Println(t.Arch, t.Build)
		}
		return err
	case "stage":
		return stage(f, args[1:])
	case "index":
		return index(f, args[1:])
	case "key":
		const words = 2
		if len(args) != words {
			return errors.New("key FILE")
		}
		return pack.WriteKey(args[1])
	}
	return fmt.Errorf("no command %q", args[0])
}

func stage(f *flag.FlagSet, args []string) error {
	var o pack.StageOptions
	f.StringVar(&o.Root, "root", ".", "`DIR` of the sources")
	f.StringVar(&o.Arch, "arch", "", "`ARCH` of OpenWrt")
	f.StringVar(&o.Binary, "binary", "", "`FILE` of the daemon")
	f.StringVar(&o.Version, "version", "", "`VERSION`")
	f.StringVar(&o.Out, "out", "", "`DIR` of the packages")
	f.StringVar(&o.Work, "work", "", "`DIR` for what nfpm reads")
	f.StringVar(&o.APKKey, "apk-key", "", "`FILE` of an RSA key to sign apk packages with")
	if err := f.Parse(args); err != nil {
		return err
	}
	jobs, err := pack.Stage(o)
	for _, j := range jobs {
		fmt.Println(j.Packager, j.Config, j.File)
	}
	return err
}

func index(f *flag.FlagSet, args []string) error {
	var o pack.FeedOptions
	f.StringVar(&o.Dir, "dir", "", "`DIR` of the packages")
	f.StringVar(&o.USignKey, "usign-key", "", "`FILE` of a key of usign's to sign Packages with")
	f.StringVar(&o.APKKey, "apk-key", "", "`FILE` of an RSA key to sign APKINDEX with")
	if err := f.Parse(args); err != nil {
		return err
	}
	return pack.Feed(o)
}
