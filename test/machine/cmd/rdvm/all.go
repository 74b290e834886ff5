package main

import "github.com/spf13/cobra"

func (a *app) allCommand() *cobra.Command { return &cobra.Command{Use: "all"} }
