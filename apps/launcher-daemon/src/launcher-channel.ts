/** Channel that launchers update themselves from. */
export const LAUNCHER_CHANNEL = 'launcher'
